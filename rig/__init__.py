"""The rig: real kernels and real initiators in virtual machines, or on hosts of an inventory. Imports nothing of ours."""
