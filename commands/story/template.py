"""Asking for templates: patterns of scenes and their parameters."""

from __future__ import annotations

from commands.story.authored import asked_of
from domain.story.template import TEMPLATE

ASKS = asked_of(TEMPLATE, "/api/templates")
COMMANDS = ASKS.commands

CreateTemplate = ASKS["CreateTemplate"]
ReplaceTemplate = ASKS["ReplaceTemplate"]
EditTemplate = ASKS["EditTemplate"]
DeleteTemplate = ASKS["DeleteTemplate"]
RestoreTemplate = ASKS["RestoreTemplate"]
AddTemplateParameter = ASKS["AddTemplateParameter"]
EditTemplateParameter = ASKS["EditTemplateParameter"]
MoveTemplateParameter = ASKS["MoveTemplateParameter"]
RemoveTemplateParameter = ASKS["RemoveTemplateParameter"]
ReorderTemplateParameters = ASKS["ReorderTemplateParameters"]
