"""Notifications for whoever meters: what happened to volumes and the rest, in Cinder's format.

    begin or end of an operation --outbox--> rows of the same transaction --delivery--> sink: file, stdout, webhook

Loaded only where the setting `notifications` names a sink.
"""
