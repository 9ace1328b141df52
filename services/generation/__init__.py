"""Generation: engines at hand, presets planned into steps, jobs done step by step."""
