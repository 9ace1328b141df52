# Plays plans in the real engine and writes down what a player would meet. It is put into a copy of an exported game and
# does nothing unless COMFYVN_PROOF names a file:
#   {"out": file, "moments": most moments of a play, "plans": [{"first": [{name: value}], "set": {name: value}, "picks": [index]}]}
# Each plan becomes one line of JSON in "out": {"plan", "steps", "end"}. "first" answers menus before the story begins,
# "set" are the game's own variables to begin with, "picks" the options of the story's menus. With "save": n the game is
# saved at its menu n and, when the play is over, loaded and played on from there; with "back": n it is rolled back at its
# menu n, once. Whatever is played anew takes the place of what was written down before.

label main_menu:
    $ comfyvn_proof.next_plan()
    return

init 1500 python in comfyvn_proof:
    import io
    import json
    import os
    import sys
    from renpy import config
    from renpy.text import textsupport

    # What is recorded must not be rolled back with the game.
    class Recorder(renpy.python.NoRollback):
        told = None
        plan = -1
        steps = None
        picks = ()
        labels = ()
        entered = 0
        analysed = False
        saved = False
        rolled = False
        again = False
        returns = 0
        problems = ()

    recorder = Recorder()

    def shown(text):
        """What stands on the screen: `{{` is one brace, and a tag that works is marked as one."""
        if text is None:
            return ""
        parts = []
        for kind, part in textsupport.tokenize(str(text)):
            if kind == renpy.TEXT_TEXT:
                parts.append(part)
            elif kind == renpy.TEXT_PARAGRAPH:
                parts.append("\n")
            else:
                parts.append("\u27e6tag " + part + "\u27e7")
        return "".join(parts)

    def plain(value):
        # Once through JSON: the game's own lists and objects become plain, and nothing of them can change later.
        return json.loads(json.dumps(value))

    def next_plan():
        if recorder.saved and recorder.steps is not None:
            recorder.saved = False
            renpy.load("comfyvn-proof")
        finish("ended")
        recorder.plan += 1
        if recorder.plan >= len(recorder.told["plans"]):
            recorder.log.close()
            renpy.quit(status=0)
        plan = recorder.told["plans"][recorder.plan]
        recorder.picks = list(plan["picks"])
        recorder.steps = []
        recorder.labels = []
        recorder.entered = 0
        recorder.saved = recorder.rolled = recorder.again = False
        recorder.problems = []
        recorder.returns = 0
        for name, value in plan.get("set", {}).items():
            setattr(renpy.store, name, value)
        renpy.store._history_list = []
        config.skipping = "fast"

    def finish(end):
        if recorder.steps is not None:
            line = {"plan": recorder.plan, "steps": recorder.steps, "end": end, "returns": recorder.returns,
                    "problems": recorder.problems}
            recorder.log.write(json.dumps(line) + "\n")
            recorder.log.flush()
            recorder.steps = None

    def left(step):
        """The end of a moment: how it was left, as far as the engine can tell."""
        if "next" in step:
            return
        if recorder.entered != step["entered"]:
            step["next"] = "scene"
        elif renpy.store.vn_dice[2] != step["dice"][2]:
            step["next"] = "chance"
            step["way"] = plain(renpy.store.vn_way)
        else:
            step["next"] = "continue"

    def back_where_it_was(inside=True):
        """After loading and rolling back: what was written down since then is forgotten, and what is must be as it was.

        The engine goes back into a moment, or to just after its menu, when the moment has been left already.
        """
        count = getattr(renpy.store, "comfyvn_moments", 0)
        if not recorder.steps or not 0 < count < len(recorder.steps) + recorder.again:
            return
        if count == len(recorder.steps) and not recorder.again:
            return
        recorder.again = False
        recorder.returns += 1
        recorder.steps = recorder.steps[:count]
        step = recorder.steps[-1]
        if inside:
            for name in ("next", "way", "captions", "offered", "picked"):
                step.pop(name, None)
        asked = len([one for one in recorder.steps if one.get("next") == "ask"])
        recorder.picks = list(recorder.told["plans"][recorder.plan]["picks"])[asked:]
        recorder.entered = step["entered"]
        recorder.labels = []
        if not inside:
            return
        step["said_again"] = 0
        for name, value in (("variables", renpy.store.vn_variables), ("dice", renpy.store.vn_dice)):
            if plain(value) != step[name]:
                recorder.problems.append("going back changed the {} to {}".format(name, json.dumps(plain(value))))

    def on_label(name, abnormal):
        config.skipping = "fast"
        # Many plays in a row look like one endless loop to the engine; here what loops is counted in moments.
        renpy.not_infinite_loop(60)
        if recorder.steps is not None:
            recorder.labels.append(name)

    def on_moment(node):
        played_at(node)
        if recorder.steps is None:
            return
        back_where_it_was(inside=False)
        if recorder.steps:
            left(recorder.steps[-1])
        if len(recorder.steps) == recorder.told["moments"]:
            finish("cut")
            renpy.full_restart()
        recorder.steps.append({
            "scene": renpy.store.vn_scene, "node": renpy.store.vn_node, "pov": renpy.store.vn_pov,
            "labels": recorder.labels, "said": [], "variables": plain(renpy.store.vn_variables),
            "dice": plain(renpy.store.vn_dice), "entered": recorder.entered,
        })
        renpy.store.comfyvn_moments = len(recorder.steps)
        recorder.labels = []

    def on_scene(*arguments):
        recorder.entered += 1
        played_scene(*arguments)

    def on_history(entry):
        if not recorder.steps:
            return
        back_where_it_was()
        step, line = recorder.steps[-1], [shown(entry.who), shown(entry.what)]
        if step.get("said_again", 1) == 0 and line in step["said"]:
            step["said_again"] = 1
        else:
            step["said"].append(line)

    def on_menu(items, **ignored):
        if recorder.steps is None:
            return None
        if not recorder.steps:
            return first_menu(items)
        back_where_it_was()
        step = recorder.steps[-1]
        options = [(renpy.substitutions.substitute(label)[0], value) for label, value in items if value is not None]
        named = [getattr(value, "kwargs", None) or {} for label, value in options]
        asked = len([one for one in recorder.steps if one.get("next") == "ask"])
        plan = recorder.told["plans"][recorder.plan]
        if plan.get("back") == asked and not recorder.rolled:
            recorder.rolled = recorder.again = True
            renpy.rollback(force=True, checkpoints=plan.get("checkpoints", 1))
        if plan.get("save") == asked and not recorder.saved and not plan.get("loaded"):
            plan["loaded"] = recorder.saved = recorder.again = True
            renpy.save("comfyvn-proof")
            recorder.again = False
        step["next"] = "ask"
        step["captions"] = [shown(renpy.substitutions.substitute(label)[0]) for label, value in items if value is None]
        # The engine shows what has no text, but nobody can choose it.
        step["offered"] = [
            {"id": one.get("choice"), "label": shown(label) if label else None}
            for one, (label, value) in zip(named, options)
        ]
        if not recorder.picks:
            return stop("no pick left")
        step["picked"] = recorder.picks.pop(0)
        if step["picked"] >= len(options):
            return stop("no such option")
        if plan.get("back") is not None:
            renpy.checkpoint(step["picked"])  # as the engine's own menu does: here one can roll back to
        return taken(options[step["picked"]][1])

    def first_menu(items):
        """A menu before the story begins, where a worldline or a point of view is chosen: the plan names it."""
        for wanted in recorder.told["plans"][recorder.plan].get("first", ()):
            for label, value in items:
                if value is not None and label and plain(getattr(value, "kwargs", None) or {}) == wanted:
                    return taken(value)
        return stop("no such route")

    def taken(value):
        return value() if isinstance(value, renpy.ui.ChoiceReturn) else value

    def stop(end):
        finish(end)
        renpy.full_restart()

    def load_once():
        if not recorder.analysed:
            recorder.analysed = True
            load_cache()

    def no_picture(*arguments, **named):
        pass

    def on_exception(short, full, file):
        if recorder.steps is None:
            recorder.steps = []
        finish("exception: " + short)
        recorder.log.write(json.dumps({"exception": full}) + "\n")
        recorder.log.close()
        renpy.quit(status=4)

    if os.environ.get("COMFYVN_PROOF"):
        with io.open(os.environ["COMFYVN_PROOF"], encoding="utf-8") as told:
            recorder.told = json.load(told)
        recorder.plan = recorder.told.get("first", 0) - 1
        recorder.log = io.open(recorder.told["out"], "a", encoding="utf-8")
        played_at, renpy.store.vn_at = renpy.store.vn_at, on_moment
        played_scene, renpy.store.vn_enter_scene = renpy.store.vn_enter_scene, on_scene
        config.label_callback = on_label
        config.history_length = max(config.history_length or 0, 1)
        config.history_callbacks.append(on_history)
        config.exception_handler = on_exception
        config.has_autosave = False
        config.autosave_on_quit = False
        config.autosave_on_choice = False
        config.skipping = "fast"
        config.allow_skipping = True
        renpy.store.menu = on_menu
        # Of what the engine does anew for every play, this is slow and changes nothing: it is done once.
        analysed = sys.modules["renpy.sl2.slast"]
        load_cache = analysed.load_cache
        analysed.load_cache = load_once
        renpy.take_screenshot = no_picture

init 1501 python:
    if comfyvn_proof.recorder.told is not None:
        config.default_language = None
        _preferences.transitions = 0
        _preferences.skip_unseen = True
        _preferences.skip_after_choices = True
        _preferences.afm_enable = False
