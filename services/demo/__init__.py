"""The sample project: a story on two worldlines, its pictures and sounds, and an account that pays for some of them."""

from services.demo.loading import DemoAccount, Step, load_demo

__all__ = ["DemoAccount", "Step", "load_demo"]
