"""What a container may do and use: security profile, control groups, limits, AppArmor."""
