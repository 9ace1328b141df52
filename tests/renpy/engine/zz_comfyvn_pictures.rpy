# Plays one path at the pace of a reader and keeps a picture of every moment. It is put into a copy of an exported game
# and does nothing unless COMFYVN_PICTURES names a file:
#   {"folder", "first": [{name: value}], "picks": [index], "every": seconds, "most": pictures}

screen comfyvn_pictures():
    zorder 1000
    timer comfyvn_pictures.every action Function(comfyvn_pictures.tick) repeat True

init 1500 python in comfyvn_pictures:
    import io
    import json
    import os
    from renpy import config

    every = 1.5

    class State(renpy.python.NoRollback):
        told = None
        taken = 0
        waiting = None
        begun = False

    state = State()

    def tick():
        path = os.path.join(state.told["folder"], "{:03d}.png".format(state.taken))
        renpy.screenshot(path)
        state.taken += 1
        if state.taken >= state.told["most"]:
            renpy.quit(status=0)
        if state.waiting is not None:
            value, state.waiting = state.waiting, None
            return value
        renpy.queue_event("dismiss")
        return None

    def on_menu(items, **ignored):
        options = [(label, value) for label, value in items if value is not None]
        state.waiting = None
        for label, value in options:
            if (getattr(value, "kwargs", None) or {}) in state.told["first"]:
                state.waiting = value.value
        if state.waiting is None:
            pick = state.told["picks"].pop(0) if state.told["picks"] else 0
            state.waiting = options[pick][1].value
        return renpy.display_menu(items)

    def on_start(name, abnormal):
        if not renpy.get_screen("comfyvn_pictures"):
            renpy.show_screen("comfyvn_pictures")

    def restart():
        if state.begun:
            renpy.quit(status=0)
        state.begun = True

    if os.environ.get("COMFYVN_PICTURES"):
        with io.open(os.environ["COMFYVN_PICTURES"], encoding="utf-8") as told:
            state.told = json.load(told)
        every = state.told.get("every", 1.5)
        config.label_callback = on_start
        config.has_autosave = False
        renpy.store.menu = on_menu

init 1501 python:
    if comfyvn_pictures.state.told is not None:
        _preferences.text_cps = 0
