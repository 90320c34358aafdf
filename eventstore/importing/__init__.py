"""Bringing what another cache database keeps into a store of ours."""
