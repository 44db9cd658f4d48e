"""Who signs in at the submission doors: logins, passwords, asking the next hop, limits. Runs in the keeper process."""
