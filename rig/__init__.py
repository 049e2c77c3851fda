"""The rig: real kernels and initiators in virtual machines, or on hosts of an inventory. It does not import nbdsvc."""
