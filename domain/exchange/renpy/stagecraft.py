"""What the statements of a game lean on: places, stand-ins, sound channels, and waiting."""

from __future__ import annotations

from typing import Final

PRESENTATION: Final = r'''# Places, stand-ins and channels for what is seen and heard.

init -90 python:

    renpy.music.register_channel("ambience", mixer="music", loop=True, tight=True)
    renpy.music.register_channel("effect", mixer="sfx", loop=False)

    def vn_place(x=None, y=None, scale=None, flip=None):
        """Where a picture's lower middle stands, as fractions of the frame. What is left away stays as it is."""
        given = {"xanchor": 0.5, "yanchor": 1.0}
        if x is not None:
            given["xpos"] = float(x)
        if y is not None:
            given["ypos"] = float(y)
        if scale is not None:
            given["zoom"] = float(scale)
        if flip is not None:
            given["xzoom"] = -1.0 if flip else 1.0
        return Transform(**given)

    def vn_veil(strength):
        return Transform(alpha=strength)

    def vn_backdrop(file):
        """A picture that fills the frame."""
        return Transform(file, xysize=(config.screen_width, config.screen_height), fit="cover")

    def vn_figure(file):
        """A picture of somebody, so tall that who speaks is seen above the words."""
        return Transform(file, ysize=int(config.screen_height * 0.86), fit="contain")

    def vn_stand_in(called, whole):
        """What is shown where a picture is missing: its name on a plain ground."""
        width, height = config.screen_width, config.screen_height
        size = (width, height) if whole else (int(width * 0.22), int(height * 0.7))
        words = Text(called, substitute=False, size=28, color="#e8e8ee", xalign=0.5, yalign=0.4, text_align=0.5,
                     xmaximum=size[0] - 20)
        return Fixed(Solid("#2b2f3a" if whole else "#4a5166cc"), words, xysize=size)

    def vn_lost_picture(file):
        """What is shown for a file that is gone or broken when the game is played. Lint tells of it all the same."""
        return None if renpy.game.lint else im.Image("_missing_image.png")

    config.missing_image_callback = vn_lost_picture
    # A sound that is gone is silence for whoever writes the game too, as it is for who plays it.
    config.debug_sound = False

    def vn_tint(called):
        """An overlay of no picture of its own: a tint by what it is called."""
        tints = {"fog": "#c8d0d855", "mist": "#c8d0d844", "rain": "#30405055", "snow": "#ffffff33",
                 "night": "#0a1030aa", "sepia": "#70501855", "dark": "#000000aa", "light": "#fff8e033"}
        return Solid(tints.get(called.lower(), "#00000033"))

    def vn_wait_for_sound():
        """Waits for what is sounding beside music and ambience, or for the player."""
        while not renpy.config.skipping and any(renpy.music.get_playing(one) for one in ("effect", "voice")):
            if renpy.pause(0.1):
                break

# The whole frame, as it is before anything moves it: moving and turning it goes about its middle.
transform vn_frame:
    subpixel True
    anchor (0.5, 0.5)
    pos (0.5, 0.5)
    offset (0, 0)
    zoom 1.0
    rotate None

screen vn_advance(seconds):
    timer max(seconds, 0.01) action [Hide("vn_advance"), QueueEvent("dismiss")]
'''
"""``game/comfyvn_presentation.rpy``."""
