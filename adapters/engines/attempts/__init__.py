"""Tasks as folders and child processes: what engines that run on this machine share."""
