"""The pool's backend may have a filter function, which has to be true."""

from nbdsvc.scheduler import functions
from nbdsvc.scheduler.filters.filter import Filter

DRIVER = Filter("DriverFilter", functions.lacks)
