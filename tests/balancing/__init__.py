"""A simulation of a pool under load, in virtual time: the balancer is real, only the network is not.

Everything in it is a function of a seed: who asks when, how long each server takes, what the policies draw. So a promise about
a day's traffic is measured in a second, and measured alike on every machine.
"""
