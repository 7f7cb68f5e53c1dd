"""Faults that the emulator makes on request, so that people can rehearse what Google Cloud rarely shows."""
