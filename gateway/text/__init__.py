"""Text as the classification sees it: normalised, and searched for markings and identifiers. Pure."""
