"""What the engines of remote services share: asking them, reading their models, handing files over."""
