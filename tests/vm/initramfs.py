"""Makes the VM's initramfs: busybox, the modules asked for with what they depend on, in loading order, and `init`."""

import gzip
import lzma
import re
import stat
from pathlib import Path

FOLDERS = ["bin", "dev", "proc", "sys", "host", "modules"]


class Archive:
    """A cpio archive in the `newc` form (kernel: Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.parts = []

    def add(self, name, mode, content=b"", device=(0, 0)):
        inode = len(self.parts) + 1
        path = name.encode() + b"\0"
        fields = [inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0]
        self.parts.append(pad(b"070701" + b"".join(b"%08X" % f for f in fields) + path) + pad(content))

    def finish(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def pad(data):
    return data + b"\0" * (-len(data) % 4)


def module_name(path):
    return path.name.split(".ko")[0].replace("-", "_")


def in_loading_order(modules, wanted):
    """Names and contents of the wanted modules, each after those that it says it depends on. Names may be built in."""
    files = {module_name(path): path for path in modules.glob("kernel/**/*.ko*")}
    built_in = {module_name(Path(line)) for line in (modules / "modules.builtin").read_text().splitlines()}
    order = {}

    def take(name):
        if name in order or name in built_in:
            return
        if name not in files:
            raise SystemExit(f"the kernel in {modules} has no module {name}")
        content = files[name].read_bytes()
        if files[name].suffix == ".xz":
            content = lzma.decompress(content)
        # modinfo: NUL-terminated `key=value` strings.
        found = re.search(rb"\0depends=([^\0]*)\0", content)
        for dependency in filter(None, found.group(1).decode().split(",") if found else []):
            take(dependency.replace("-", "_"))
        order[name] = content

    for name in wanted:
        take(name.replace("-", "_"))
    return order


def build(tree, modules, wanted, init, settings):
    """The image, gzipped. `wanted`: module name to its options. `settings`: shell text that `init` reads."""
    archive = Archive()
    for folder in FOLDERS:
        archive.add(folder, stat.S_IFDIR | 0o755)
    # The kernel opens it before `init` can make any.
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, (tree / "usr/bin/busybox").read_bytes())
    archive.add("init", stat.S_IFREG | 0o755, init)
    archive.add("settings", stat.S_IFREG | 0o644, settings.encode())
    order = in_loading_order(modules, wanted)
    options = {name.replace("-", "_"): text for name, text in wanted.items()}
    for name, content in order.items():
        archive.add(f"modules/{name}.ko", stat.S_IFREG | 0o644, content)
    listing = "".join(f"{name} {options.get(name, '')}\n" for name in order)
    archive.add("modules/order", stat.S_IFREG | 0o644, listing.encode())
    return gzip.compress(archive.finish(), 1)
