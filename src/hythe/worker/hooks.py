"""Hooks: scripts in ``hooks/`` next to the Dockerfile, with the variables of Docker's automated builds.

They run in the sandbox. Their ``docker`` is a script that builds and tags with buildah and records pushes: the sandbox
contains no credentials, so the worker pushes the images.
"""

from hythe.worker.builders.image_store import STORAGE
from hythe.worker.checkout import REPOSITORY, SOURCE
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import NetworkAccess, Sandbox
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import CheckedOutCommit, Job
from hythe.worker.source_tree import PathEscapes, read_inside, resolve_inside, write_inside

PUSHED = "home/pushed"
_STORAGE = " ".join(STORAGE)
DOCKER = f"""#!/bin/sh
# The 'docker' of hooks: the verbs of docker that hooks of automated builds use, done by buildah.
word=$1
[ $# -gt 0 ] && shift
case "$word" in
    build) exec buildah {_STORAGE} build --isolation chroot --network host --pull=false --format docker \\
        --timestamp "${{SOURCE_DATE_EPOCH:-0}}" "$@" ;;
    tag|images|pull|rmi) exec buildah {_STORAGE} "$word" "$@" ;;
    inspect) exec buildah {_STORAGE} inspect --type image "$@" ;;
    push) for name; do :; done; printf '%s\\n' "$name" >> /work/{PUSHED} ;;
    login|logout) ;;
    *) echo "docker $word is not supported in Trusted Builds: use build, tag, images, pull, inspect, rmi, push" >&2
       exit 125 ;;
esac
"""


class HookRunner:
    """The hooks of one source."""

    def __init__(
        self,
        job: Job,
        checked_out: CheckedOutCommit,
        sandbox: Sandbox,
        progress: ProgressReporter,
        access: NetworkAccess,
        time: int,
    ) -> None:
        self._sandbox = sandbox
        self._progress = progress
        self._access = access
        self.ran: list[str] = []
        """The names of the hooks that ran."""
        folder = job.spec.dockerfile.rpartition("/")[0]
        self._folder = "/".join(part for part in (job.spec.context.strip("/"), folder) if part)
        self.variables = variables(job, checked_out)
        secrets = {name: value for name, value in job.secrets.items() if name.isidentifier()}
        self._environment = (
            secrets
            | self.variables
            | {
                "PATH": "/work/home/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "GIT_DIR": REPOSITORY,
                "GIT_WORK_TREE": SOURCE,
                "SOURCE_DATE_EPOCH": str(time),
                "_CONTAINERS_USERNS_CONFIGURED": "done",
            }
        )

    def has(self, name: str) -> bool:
        """Return whether a hook with this name exists."""
        try:
            return resolve_inside(self._sandbox.work / "src", f"{self._folder}/hooks/{name}").is_file()
        except PathEscapes:
            return False

    def run(self, name: str) -> bool:
        """Run a hook if it exists; return whether it exists. Raises BuildFailed if it fails."""
        if not self.has(name):
            return False
        self.ran.append(name)
        self._provide_docker()
        folder = f"{SOURCE}/{self._folder}".rstrip("/")
        with self._progress.step(f"hook {name}"):
            completed = self._sandbox.run(
                ["sh", "-c", f"[ -x hooks/{name} ] && exec hooks/{name}; exec sh hooks/{name}"],
                self._progress.line,
                access=self._access,
                environment=self._environment,
                folder=folder,
            )
        if completed.code:
            raise BuildFailed(f"hooks/{name} exited with {completed.code}: see the log")
        return True

    def pushed(self) -> list[str]:
        """Return the image names that hooks pushed."""
        try:
            text = read_inside(self._sandbox.work, PUSHED, 64 * 1024).decode(errors="replace")
        except FileNotFoundError:
            return []
        return list(dict.fromkeys(text.split()))

    def _provide_docker(self) -> None:
        write_inside(self._sandbox.work, "home/bin/docker", DOCKER, self._sandbox.chown, 0o755)


def variables(job: Job, checked_out: CheckedOutCommit) -> dict[str, str]:
    """Return the variables that Docker's automated builds pass to hooks, including build arguments."""
    tag = job.tags[0] if job.tags else "latest"
    name = f"{job.registry}/{job.repository}"
    return {
        **job.spec.arguments,
        "SOURCE_BRANCH": job.ref.name,
        "SOURCE_TYPE": job.ref.type.value.title(),
        "SOURCE_COMMIT": checked_out.commit,
        "COMMIT_MSG": checked_out.message,
        "DOCKER_REPO": name,
        "DOCKERFILE_PATH": job.spec.dockerfile,
        "BUILD_PATH": job.spec.context,
        "DOCKER_TAG": tag,
        "DOCKER_TAGS": ",".join(job.tags),
        "CACHE_TAG": "",
        "IMAGE_NAME": f"{name}:{tag}",
    }
