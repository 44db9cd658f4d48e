"""The keys of the trusted room: content sealed at rest, mail sealed to the security officer, sealed files, a key on paper."""
