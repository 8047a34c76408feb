"""What people are told: signed webhooks, and chats and mail through Apprise; off where none is set.

`thread.NotificationThread` is the way in, with `settings.NotificationSettings`. Nothing is imported here: the
image installs Apprise before the rest of the code is there.
"""
