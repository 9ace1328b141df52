"""The screens of a game: small, complete and readable, to be replaced by whoever designs their own."""

from __future__ import annotations

from typing import Final

SCREENS: Final = r'''# Screens: what the player sees around the story. Change them, or put your own in their place.

init -2 python:
    gui.init(VN_WIDTH, VN_HEIGHT)

init offset = -1

style default:
    size 30
    color "#f2f2f5"
    language "unicode"

style button_text:
    size 28
    color "#b9bfd0"
    hover_color "#ffffff"
    selected_color "#ffd88a"
    insensitive_color "#5b6072"

style vn_panel is default:
    background Solid("#12151eee")
    padding (48, 36)

style vn_label_text is default:
    size 44
    color "#ffffff"

style window:
    xalign 0.5
    yalign 1.0
    xfill True
    yminimum 250
    background Solid("#0d1018cc")
    padding (240, 32, 240, 40)

style say_label:
    size 32
    bold True
    color "#ffd88a"

style say_dialogue:
    size 32
    color "#f5f5f7"

style choice_vbox:
    xalign 0.5
    yalign 0.4
    spacing 18

style choice_button:
    xsize 1100
    padding (30, 16)
    background Solid("#1b2030e0")
    hover_background Solid("#36405ce8")

style choice_button_text:
    xalign 0.5
    text_align 0.5
    color "#e6e8f0"
    hover_color "#ffffff"

style slider:
    xsize 420
    ysize 26
    base_bar Solid("#333a4d")
    left_bar Solid("#8fa4d8")
    thumb Solid("#ffffff", xsize=10)

style slot_button:
    xsize 420
    ysize 330
    padding (12, 12)
    background Solid("#1b2030e0")
    hover_background Solid("#36405ce8")

style slot_button_text:
    size 22

style scrollbar:
    base_bar Solid("#333a4d")
    thumb Solid("#8fa4d8")

style vscrollbar:
    xsize 14
    base_bar Solid("#333a4d")
    thumb Solid("#8fa4d8")

screen say(who, what):
    style_prefix "say"
    window:
        id "window"
        vbox:
            spacing 10
            if who is not None:
                text who id "who" style "say_label"
            text what id "what" style "say_dialogue"

screen choice(items):
    style_prefix "choice"
    default hint = ""
    vbox:
        for one in items:
            if one.action is None:
                text one.caption xalign 0.5
            else:
                textbutton one.caption:
                    action one.action
                    if one.kwargs.get("hint"):
                        hovered SetScreenVariable("hint", one.kwargs["hint"])
                        unhovered SetScreenVariable("hint", "")
    if hint:
        text hint substitute False xalign 0.5 yalign 0.72 size 24 color "#c9cede" xmaximum 1200 text_align 0.5

screen input(prompt):
    style_prefix "say"
    window:
        vbox:
            spacing 10
            text prompt style "say_dialogue"
            input id "input"

screen quick_menu():
    zorder 100
    if quick_menu:
        hbox:
            xalign 0.5
            yalign 0.995
            spacing 26
            textbutton _("Back") action Rollback() text_size 20
            textbutton _("History") action ShowMenu("history") text_size 20
            textbutton _("Skip") action Skip() alternate Skip(fast=True, confirm=True) text_size 20
            textbutton _("Auto") action Preference("auto-forward", "toggle") text_size 20
            textbutton _("Save") action ShowMenu("save") text_size 20
            textbutton _("Load") action ShowMenu("load") text_size 20
            textbutton _("Settings") action ShowMenu("preferences") text_size 20

init python:
    config.overlay_screens.append("quick_menu")

default quick_menu = True

screen vn_navigation():
    vbox:
        xpos 80
        yalign 0.5
        spacing 14
        if main_menu:
            textbutton _("Start") action Start()
        else:
            textbutton _("History") action ShowMenu("history")
            textbutton _("Save") action ShowMenu("save")
        textbutton _("Load") action ShowMenu("load")
        textbutton _("Settings") action ShowMenu("preferences")
        if not main_menu:
            textbutton _("Main menu") action MainMenu()
        if renpy.variant("pc"):
            textbutton _("Quit") action Quit(confirm=not main_menu)

screen main_menu():
    tag menu
    add Solid("#10131c")
    text "[config.name!q]" xpos 80 ypos 120 size 72 color "#ffffff" xmaximum 1400
    use vn_navigation
    text "[config.version!q]" xalign 0.98 yalign 0.98 size 20 color "#5b6072"

screen vn_menu(title):
    add Solid("#10131cf2")
    use vn_navigation
    frame:
        style "vn_panel"
        xpos 440
        ypos 60
        xsize config.screen_width - 520
        ysize config.screen_height - 120
        vbox:
            spacing 24
            text title style "vn_label_text"
            transclude
    textbutton _("Return") action Return() xpos 80 yalign 0.96

screen vn_slots(title):
    use vn_menu(title):
        grid 3 2:
            spacing 20
            for slot in range(1, 7):
                button:
                    style "slot_button"
                    action FileAction(slot)
                    vbox:
                        add FileScreenshot(slot) xalign 0.5
                        text FileTime(slot, format=_("{#file_time}%Y-%m-%d %H:%M"), empty=_("empty")) size 22
                        text FileSaveName(slot) size 20
                    key "save_delete" action FileDelete(slot)
        hbox:
            spacing 20
            textbutton _("<") action FilePagePrevious()
            text FilePageName()
            textbutton _(">") action FilePageNext()

screen save():
    tag menu
    use vn_slots(_("Save"))

screen load():
    tag menu
    use vn_slots(_("Load"))

screen preferences():
    tag menu
    use vn_menu(_("Settings")):
        hbox:
            spacing 20
            textbutton _("Window") action Preference("display", "window")
            textbutton _("Full screen") action Preference("display", "fullscreen")
            textbutton _("Skip unseen") action Preference("skip", "toggle")
        grid 2 5:
            xspacing 40
            yspacing 16
            text _("Text speed")
            bar value Preference("text speed") style "slider"
            text _("Auto-forward time")
            bar value Preference("auto-forward time") style "slider"
            text _("Music")
            bar value Preference("music volume") style "slider"
            text _("Sound")
            bar value Preference("sound volume") style "slider"
            text _("Voice")
            bar value Preference("voice volume") style "slider"

screen history():
    tag menu
    predict False
    use vn_menu(_("History")):
        viewport:
            mousewheel True
            draggable True
            scrollbars "vertical"
            yinitial 1.0
            vbox:
                spacing 18
                xfill True
                for one in _history_list:
                    vbox:
                        if one.who:
                            text one.who style "say_label" size 26 substitute False
                        text one.what size 26 substitute False

screen confirm(message, yes_action, no_action):
    modal True
    zorder 200
    add Solid("#000000aa")
    frame:
        style "vn_panel"
        align (0.5, 0.5)
        vbox:
            spacing 30
            text message xalign 0.5 text_align 0.5
            hbox:
                xalign 0.5
                spacing 80
                textbutton _("Yes") action yes_action
                textbutton _("No") action no_action
    key "game_menu" action no_action

screen notify(message):
    zorder 100
    frame:
        background Solid("#12151edd")
        padding (24, 12)
        pos (40, 40)
        text "[message!tq]" size 24
    timer 3.0 action Hide("notify")

screen skip_indicator():
    zorder 100
    text _("Skipping") xalign 0.98 ypos 20 size 22 color "#ffd88a"
'''
"""``game/screens.rpy``; ``VN_WIDTH`` and ``VN_HEIGHT`` are replaced by the size of the frame."""
