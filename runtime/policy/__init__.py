"""Confinement of containers: security profile, control groups, limits, AppArmor."""
