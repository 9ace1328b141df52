"""Worlds as people read them."""

from __future__ import annotations

from domain.story.world import WORLD
from projections.story.authored import seen_of

PROJECTIONS = ()
VIEWS = seen_of(WORLD, "/api/worlds")
