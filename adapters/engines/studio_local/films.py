"""Videos: filters in a fixed order, upscaling, clips joined with each other and with sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from adapters.engines.attempts.child import Unfit
from adapters.engines.studio_local import coloring
from adapters.engines.studio_local.ffmpeg import (
    BITEXACT,
    EVEN,
    MADE_PIXELS,
    PICTURE,
    SECONDS,
    SOUND,
    Film,
    Told,
    looked,
    made,
    measured,
    number,
)

COPIED: Final = frozenset({"aac", "mp3"})
"""Sounds that an MP4 can hold as they are."""


def denoise(strength: float) -> list[str]:
    if not strength:
        return []
    levels = (2 + 20 * strength, 2 + 17 * strength, 2 + 18 * strength, 2 + 15 * strength)
    return [f"hqdn3d={':'.join(map(number, levels))}"]


def deflicker(strength: float) -> list[str]:
    """Each frame's brightness is brought to the mean of so many around it."""
    return [f"deflicker=size={5 + round(strength * 26)}:mode=am"] if strength else []


def grade(parameters: Any, work: Path) -> list[str]:
    """Writes the colour table beside the filters that read it; a name without a folder needs no escaping."""
    if coloring.neutral(parameters):
        return []
    (work / "look.cube").write_text(coloring.cube(coloring.of(parameters)), encoding="ascii")
    return ["format=gbrp", "lut3d=look.cube:interp=tetrahedral", "format=yuv420p"]


def vignette(amount: float) -> list[str]:
    return [f"vignette=angle={number(amount * 0.9)}"] if amount else []


def grain(amount: float, seed: int) -> list[str]:
    # The seed of all planes, for ffmpeg does not listen to the seed of one.
    return [f"noise=c0s={round(4 + amount * 36)}:c0f=t:all_seed={seed % 2**31}"] if amount else []


def sharpen(amount: float) -> list[str]:
    return [f"cas={number(amount)}"] if amount else []


def filtered(source: Path, work: Path, out: Path, filters: Sequence[str], scale: int, told: Told) -> dict[str, Any]:
    """A video through filters; its sound stays. Returns what is known of both."""
    film = looked(source, "video")
    if film.width * film.height * scale * scale > MADE_PIXELS:
        size = f"{film.width * scale} × {film.height * scale}"
        raise Unfit("INVALID_FIELD_VALUE", f"{size} pixels are more than a video may have here: choose a smaller one.",
                    field="scale")
    chain = ",".join(["format=yuv420p", *filters, EVEN, "setsar=1"])
    sound = ["-c:a", "copy"] if film.audio_codec in COPIED else list(SOUND)
    arguments = [*film.arguments, "-map", "0:v:0", "-map", "0:a:0?", "-sn", "-dn", "-vf", chain,
                 *PICTURE, *sound, *BITEXACT]
    most = film.seconds + 1 if film.seconds else 0.0  # some recorders write no length; ours is the bound then
    seconds = made(arguments, out, most, told, declared=film.seconds, folder=work)
    source_facts = {"width": film.width, "height": film.height, "fps": film.fps}
    return {"source": source_facts, "seconds": round(film.seconds or seconds, 3)}


def joined(video: Path, audio: Path, out: Path, until: str, volume: float, keep: bool, told: Told) -> dict[str, Any]:
    """A video with a sound, as long as one of them or the shorter one."""
    film, sound = looked(video, "video"), looked(audio, "audio")
    lengths = measured(film, "video"), measured(sound, "audio")
    seconds = {"video": lengths[0], "audio": lengths[1], "shortest": min(lengths)}[until]
    repeats = seconds > lengths[0] + 0.05
    copies = film.video_codec == "h264" and film.pixel_format == "yuv420p" and not repeats
    picture = ["-c:v", "copy", "-movflags", "+faststart"] if copies else ["-vf", f"format=yuv420p,{EVEN}", *PICTURE]
    mixed = f"[1:a:0]volume={number(volume)},apad[new]"
    if keep and film.audio_codec:
        mixed += ";[0:a:0]apad[old];[old][new]amix=inputs=2:duration=first:normalize=0[sound]"
    else:
        mixed = mixed.replace("[new]", "[sound]")
    loop = ["-stream_loop", "-1"] if repeats else []
    arguments = [*loop, *film.arguments, *sound.arguments, "-filter_complex", mixed, "-map", "0:v:0", "-map", "[sound]",
                 *picture, *SOUND, *BITEXACT]
    written = made(arguments, out, seconds, told)
    return {"seconds": round(written, 3), "video_seconds": round(lengths[0], 3), "audio_seconds": round(lengths[1], 3)}


def chained(sources: Sequence[Path], out: Path, fade: float, fps: int, told: Told) -> dict[str, Any]:
    """Clips one after another in the size of the first, silent ones with silence."""
    films = [looked(one, "video") for one in sources]
    lengths = [measured(film, "video") for film in films]
    fade = min(fade, *(length / 2 for length in lengths)) if len(films) > 1 else 0.0
    total = sum(lengths) - fade * (len(films) - 1)
    if total > SECONDS:
        raise Unfit("INVALID_FIELD_VALUE", f"Together they have {total:.0f} seconds; at most {SECONDS:.0f} are made.")
    width, height = films[0].width // 2 * 2, films[0].height // 2 * 2
    sounds = any(film.audio_codec for film in films)
    parts = []
    for place, (film, length) in enumerate(zip(films, lengths, strict=True)):
        parts.append(
            f"[{place}:v:0]fps={fps},scale={width}:{height}:force_original_aspect_ratio=decrease:flags=lanczos,"
            f"pad={width}:{height}:-1:-1:black,setsar=1,format=yuv420p,trim=duration={number(length)},"
            f"settb=AVTB,setpts=PTS-STARTPTS[v{place}]"
        )
        if sounds:
            heard = f"[{place}:a:0]aresample=48000," if film.audio_codec else "anullsrc=r=48000:cl=stereo,"
            parts.append(f"{heard}aformat=channel_layouts=stereo:sample_rates=48000,apad,"
                         f"atrim=duration={number(length)},asetpts=PTS-STARTPTS[a{place}]")
    parts += _faded(lengths, fade, sounds) if fade else _cut(len(films), sounds)
    arguments = [*(word for film in films for word in film.arguments), "-filter_complex", ";".join(parts),
                 "-map", "[v]", *(["-map", "[a]", *SOUND] if sounds else []), *PICTURE, *BITEXACT]
    written = made(arguments, out, total, told, declared=total)
    return {"seconds": round(written, 3), "clips": [round(length, 3) for length in lengths], "fade": round(fade, 3)}


def _cut(count: int, sounds: bool) -> list[str]:
    order = "".join(f"[v{place}]" + (f"[a{place}]" if sounds else "") for place in range(count))
    return [f"{order}concat=n={count}:v=1:a={int(sounds)}[v]" + ("[a]" if sounds else "")]


def _faded(lengths: Sequence[float], fade: float, sounds: bool) -> list[str]:
    parts, shown, heard, at = [], "v0", "a0", 0.0
    last = len(lengths) - 1
    for place in range(1, len(lengths)):
        at += lengths[place - 1] - fade
        now, then = ("v", "a") if place == last else (f"x{place}", f"y{place}")
        parts.append(f"[{shown}][v{place}]xfade=transition=fade:duration={number(fade)}:offset={number(at)}[{now}]")
        if sounds:
            parts.append(f"[{heard}][a{place}]acrossfade=d={number(fade)}[{then}]")
        shown, heard = now, then
    return parts


def sound_of(path: Path) -> tuple[Film, float]:
    """A sound and how many seconds of it can be decoded."""
    film = looked(path, "audio")
    return film, measured(film, "audio")
