"""How jobs run: the only room that imports Ray."""
