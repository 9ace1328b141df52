"""What of a state is still of use: which slots something may read before they are set anew, at every spot."""

from __future__ import annotations

from domain.story.playtest.effects import Effects
from domain.story.playtest.rooms import doors, final, may_leave, spot_node


def living(effects: Effects, dice: int) -> list[int]:
    """Per spot the bits that something may still read: backward from the readers, until nothing changes.

    ``dice`` are the bits of the dice, read where chance decides.
    """
    story, shape, end = effects.story, effects.shape, len(effects.story.entries)
    gates = sorted(shape.gates)
    numbers = {gate: len(shape.spots) + order for order, gate in enumerate(gates)}
    reads = [0] * (len(shape.spots) + len(gates))
    leads: list[list[tuple[int, int]]] = [[] for _ in reads]
    for number, spot in enumerate(shape.spots):
        seen = effects.seen(spot)
        reads[number] = effects.read_at(spot) | (dice if spot_node(story, spot).manner == "chance" else 0)
        for choice in seen:
            target = shape.spots[spot[0], spot[1], choice.target]
            leads[number].append((target, effects.fixed_mask(effects.of_choice(spot, choice))))
        if may_leave(seen) and not final(story, spot[0], spot[1]):
            leads[number].append((numbers[spot[0] + 1], effects.fixed_mask(effects.leavings[spot[1]])))
    for gate in gates:
        number = numbers[gate]
        if gate == end:
            continue
        passable = True
        for door, one in doors(story, gate, effects.pov):
            reads[number] |= effects.read_by(gate, door)
            target = shape.spots[gate, one.scene, story.scenes[one.scene].start]
            leads[number].append((target, effects.fixed_mask(effects.openings[one.scene])))
            passable = passable and bool(one.tests)
        if passable:
            leads[number].append((numbers[gate + 1], 0))
    return _backward(reads, leads)[: len(shape.spots)]


def _backward(reads: list[int], leads: list[list[tuple[int, int]]]) -> list[int]:
    users: list[list[int]] = [[] for _ in reads]
    for number, targets in enumerate(leads):
        for target, _ in targets:
            users[target].append(number)
    live = list(reads)
    pending = list(range(len(reads)))
    waiting = bytearray(b"\x01" * len(reads))
    while pending:
        number = pending.pop()
        waiting[number] = 0
        wanted = reads[number]
        for target, fixed in leads[number]:
            wanted |= live[target] & ~fixed
        if wanted != live[number]:
            live[number] = wanted
            for user in users[number]:
                if not waiting[user]:
                    waiting[user] = 1
                    pending.append(user)
    return live

