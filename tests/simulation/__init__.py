"""A whole balancer in memory among clients and backends that do at random whatever peers do.

:mod:`.messages` are their numbered requests and answers, :mod:`.peers` the connections, :mod:`.actions` the table of what they
do, :mod:`.world` lets a seed choose from it, and :mod:`.promises` says what must hold, whatever happened.
"""
