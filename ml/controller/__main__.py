"""Entry point of the service `watch`: `python -m ml.controller`."""

from loguru import logger

from common import log
from common.settings import load_settings
from common.system import disk
from common.system.shutdown import ShutdownFlag
from db.leader import LeaderLock
from db.listener import NotificationListener
from db.session import DB_ERRORS, create_sessionmaker, describe_error
from ml.controller import gc
from ml.controller.reconciler import Reconciler
from ml.sandbox import report
from ml.settings import MlSettings


def main() -> None:
    settings = load_settings(MlSettings)
    log.configure("watch", settings.log)
    report.log_measures(settings)
    notifications = NotificationListener(settings.database_url, "pull_requests", "releases", "syncs")
    shutdown = ShutdownFlag(notifications.wake)
    leader_lock = LeaderLock(settings.database_url, "look-out")
    reconciler = Reconciler(settings, create_sessionmaker(settings.database_url))
    names = (
        ", ".join(model.name for model in settings.list_models()) or "nothing: SLIPWAY_REPOSITORY is not set"
    )
    logger.info("looking for merges of {}, every {:g} s or when notified", names, settings.poll_seconds)
    if unfollowed := gc.find_unfollowed(reconciler.home, [model.name for model in settings.list_models()]):
        logger.info(
            "no longer configured: {}; of their files in {} few stay after 30 days",
            ", ".join(unfollowed),
            reconciler.home.root,
        )
    was_leader: bool | None = None
    while not shutdown:
        pause = settings.poll_seconds
        if (is_leader := leader_lock.acquire()) != was_leader:
            was_leader = is_leader
            if not is_leader:
                logger.warning("another controller is running, or Postgres is unavailable: waiting")
        if is_leader:
            try:
                reconciler.reconcile()
                pause = reconciler.next_pause_seconds()
            except DB_ERRORS as error:
                logger.warning("Postgres is unavailable, trying again soon: {}", describe_error(error))
                pause = 1
            except OSError as error:
                if error.errno not in disk.FULL_ERRNOS:
                    raise
                logger.error("{}; trying again soon", disk.describe_full(error, settings.home))
                pause = 5
            except Exception:  # noqa: BLE001 (a bug of ours must not end the controller)
                logger.exception("the reconciliation broke; trying again soon")
                pause = 5
        else:
            reconciler.stand_by()
        if not shutdown:
            notifications.wait(pause if is_leader else min(pause, 2))
            if notifications.take_notified("syncs") and is_leader:
                reconciler.prepare_builder()
    reconciler.stop()
    leader_lock.release()


if __name__ == "__main__":
    main()
