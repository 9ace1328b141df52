"""The part of the game that thinks as the studio does: variables, conditions, actions and the generator."""

from __future__ import annotations

from typing import Final

RUNTIME: Final = r'''# What the story's labels ask: variables by dot paths, conditions, actions, and the generator.
# It follows the studio's own rules to the letter, so that the same seed takes the same path here as there.
# Variables are never changed in place: what is set is a new value, which rollback and saved games understand.

init -100 python:

    import re as vn_re
    import sys as vn_sys

    class VnMissing(object):
        """What a path leads to where nothing is."""

    vn_missing = VnMissing()
    vn_number_shape = vn_re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*\Z", vn_re.ASCII)
    vn_largest = vn_sys.float_info.max

    def vn_found(path):
        current = vn_variables
        for part in path.split("."):
            if not isinstance(current, python_dict) or part not in current:
                return vn_missing
            current = current[part]
        return current

    def vn_value(path, otherwise=None):
        """The value of a variable, for scripts of one's own: vn_value("party.gold", 0)."""
        value = vn_found(path)
        return otherwise if value is vn_missing else value

    def vn_number(value):
        if isinstance(value, (bool, int, float)):
            return float(value)
        if isinstance(value, str) and vn_number_shape.match(value):
            return float(value)
        return None

    def vn_is(path, operator, wanted=None):
        """Whether a condition holds. A missing variable fails everything but not_exists."""
        value = vn_found(path)
        if operator == "exists":
            return value is not vn_missing
        if operator == "not_exists":
            return value is vn_missing
        if value is vn_missing:
            return False
        if operator == "eq":
            return bool(value == wanted)
        if operator == "neq":
            return bool(value != wanted)
        if operator == "in":
            return value in wanted
        if operator == "not_in":
            return value not in wanted
        limit, value = vn_number(wanted), vn_number(value)
        if limit is None or value is None:
            return False
        if operator == "gt":
            return value > limit
        if operator == "gte":
            return value >= limit
        if operator == "lt":
            return value < limit
        return value <= limit

    def vn_sees(*views):
        """Whether the point of view that is played is one of these."""
        return vn_pov in views

    def vn_changed(current, parts, change):
        after = python_dict(current) if isinstance(current, python_dict) else {}
        if len(parts) == 1:
            change(after, parts[0])
        else:
            after[parts[0]] = vn_changed(after.get(parts[0]), parts[1:], change)
        return after

    def vn_change(path, change):
        store.vn_variables = vn_changed(vn_variables, path.split("."), change)

    def vn_set(path, value):
        """Sets a variable; objects on the way to it are made."""
        def change(home, name):
            home[name] = value
        vn_change(path, change)

    def vn_clear(path):
        """Takes a variable away; what is not there stays away."""
        def change(home, name):
            del home[name]
        if vn_found(path) is not vn_missing:
            vn_change(path, change)

    def vn_add(path, amount):
        """Counts a variable up or down; what is no number counts as 0, and the result is always a float."""
        def change(home, name):
            value = home.get(name, 0)
            total = (float(value) if isinstance(value, (int, float)) else 0.0) + amount
            home[name] = max(-vn_largest, min(vn_largest, total))
        vn_change(path, change)

    def vn_draw(*ways):
        """The index of one of (weight, offered) by one draw of the generator, or None where nothing is offered."""
        offered = [(index, weight) for index, (weight, open) in enumerate(ways) if open]
        if not offered:
            return None
        seed, value, uses = vn_dice
        value = (1664525 * value + 1013904223) % 4294967296
        store.vn_dice = (seed, value, uses + 1)
        sums, total = [], None
        for index, weight in offered:
            total = weight if total is None else total + weight
            sums.append(total)
        mark = value / 4294967296 * total
        for (index, weight), reached in zip(offered, sums):
            if mark < reached:
                return index
        return offered[-1][0]

    def vn_begin(world, pov, variables, seed):
        """A new play: the generator begins with vn_seed where it is set, else with the story's seed."""
        begin = vn_seed if vn_seed is not None else seed
        begin = begin % 4294967296
        store.vn_world, store.vn_pov = world, pov
        store.vn_variables, store.vn_own = variables, ()
        store.vn_dice = (begin, begin, 0)

    def vn_enter_scene(scene, variables):
        """A scene begins with its own variables, set anew."""
        after = python_dict(vn_variables)
        after.update(variables)
        store.vn_scene, store.vn_node = scene, ""
        store.vn_variables, store.vn_own = after, tuple(variables)

    def vn_leave_scene():
        """A scene takes its own variables along when it ends."""
        own = vn_own
        store.vn_variables = {name: value for name, value in vn_variables.items() if name not in own}
        store.vn_own = ()

    def vn_at(node):
        """Called at every moment of the story, after its actions: where the play is."""
        store.vn_node = node

# The seed of automatic choices. None: the story's own, the same path every time. Any whole number: another path.
define vn_seed = None

default vn_world = ""
default vn_pov = ""
default vn_scene = ""
default vn_node = ""
default vn_own = ()
default vn_variables = {}
default vn_dice = (0, 0, 0)
default vn_way = None
'''
"""``game/comfyvn_runtime.rpy``."""
