"""A compose file, from text to a project that runs, in packages of which each stands on those below it."""
