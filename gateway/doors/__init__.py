"""The processes that speak with the world. They hold no store and no key and parse no hostile format."""
