"""Asking for worlds: their rules, locations, factions, lore and prompt templates."""

from __future__ import annotations

from commands.story.authored import asked_of
from domain.story.world import WORLD

ASKS = asked_of(WORLD, "/api/worlds")
COMMANDS = ASKS.commands

CreateWorld = ASKS["CreateWorld"]
ReplaceWorld = ASKS["ReplaceWorld"]
EditWorld = ASKS["EditWorld"]
DeleteWorld = ASKS["DeleteWorld"]
RestoreWorld = ASKS["RestoreWorld"]
SetWorldItem = ASKS["SetWorldItem"]
EditWorldItem = ASKS["EditWorldItem"]
RemoveWorldItem = ASKS["RemoveWorldItem"]
