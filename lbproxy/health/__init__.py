"""Who is well? Probes without traffic and their schedule; what traffic teaches is told to the pool by the exchanges."""
