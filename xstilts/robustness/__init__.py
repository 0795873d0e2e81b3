"""Models under attack: victims, stand-ins, the jobs of adaptive and transferred attacks, one file by hand."""
