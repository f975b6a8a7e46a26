set(deps)
