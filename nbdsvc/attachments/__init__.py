"""Use cases of attachments, one operation a file: what is checked, what its steps do and undo, how it ends.

reserve, connect, complete, delete: the attachments API. attach, detach, initialize_connection, terminate_connection and
status_actions: volume actions, by which older clients and Terraform attach. repair, detach_all: the service's own.
"""
