"""From a source (hub, local folder, embedded generator) to checked, normalised examples."""
