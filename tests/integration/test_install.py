#!/usr/bin/env python3
"""What `cmake --install` puts down serves a stranger: header, pkg-config, library, program; and nothing but MDSQ_API leaves libmds.so."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ.get("MDS_SOURCE_DIR", os.getcwd())
BUILD = os.path.dirname(os.path.abspath(os.environ.get("MDS_BIN_DIR", "build/release/bin")))


def run(*args, **kwargs):
    done = subprocess.run(args, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="mds-install-")
        cls.prefix = os.path.join(cls.temp.name, "usr")
        run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        (cls.libdir,) = (os.path.dirname(path) for path in glob.glob(cls.prefix + "/**/libmds.so", recursive=True))
        cls.env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(cls.libdir, "pkgconfig"), LD_LIBRARY_PATH=cls.libdir)

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def path(self, *names):
        return os.path.join(self.prefix, *names)

    def flags(self, *args):
        return run("pkg-config", *args, "mds", env=self.env).split()

    def test_files_are_where_a_system_looks_for_them(self):
        for name in ("bin/mds", "include/mds/query.h"):
            self.assertTrue(os.path.exists(self.path(name)), name)
        self.assertEqual(os.listdir(self.path("include/mds")), ["query.h"], "the one header that we install")
        for pattern, place in (("docs/*.1", "share/man/man1"), ("scripts/completion/mds", "share/bash-completion/completions")):
            for source in glob.glob(os.path.join(SOURCE, pattern)):
                self.assertTrue(os.path.exists(self.path(place, os.path.basename(source))), source)

    def test_only_the_public_symbols_are_exported(self):
        names = [line.split()[-1] for line in run("nm", "-D", "--defined-only", os.path.join(self.libdir, "libmds.so")).splitlines()]
        self.assertGreater(len(names), 5)
        with open(self.path("include/mds/query.h"), encoding="utf-8") as f:
            header = f.read()
        self.assertEqual([name for name in names if not re.search(rf"\b{re.escape(name)}\b", header)], [])

    def test_every_declared_function_is_in_the_library(self):
        with open(self.path("include/mds/query.h"), encoding="utf-8") as f:
            text = re.sub(r"/\*.*?\*/|^\s*#[^\n]*(?:\\\n[^\n]*)*", "", f.read(), flags=re.S | re.M)
        declared = set(re.findall(r"\bMDSQ_API\b[^;()]*?(\w+)\s*\(", text))
        self.assertGreater(len(declared), 5)
        exported = {line.split()[-1] for line in run("nm", "-D", "--defined-only", os.path.join(self.libdir, "libmds.so")).splitlines()}
        self.assertEqual(sorted(declared - exported), [])

    def test_examples_build_against_what_was_installed(self):
        examples = sorted(glob.glob(os.path.join(SOURCE, "examples/*.c")))
        if not examples:
            self.skipTest("no examples")
        for source in examples:
            out = os.path.join(self.temp.name, "example")
            run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", source, "-o", out, *self.flags("--cflags", "--libs"), env=self.env)
            self.assertIn(self.libdir, run("ldd", out, env=self.env))

    def test_header_compiles_alone_as_c_and_cxx(self):
        compilers = [("cc", "c")] + ([("c++", "c++")] if shutil.which("c++") else [])
        for compiler, language in compilers:
            run(compiler, "-x", language, "-Wall", "-Werror", "-fsyntax-only", "-", *self.flags("--cflags"), input="#include <mds/query.h>\n", env=self.env)

    def test_program_runs_from_there(self):
        self.assertIn("Usage: mds", run(self.path("bin/mds"), "--help"))


if __name__ == "__main__":
    if not os.path.exists(os.path.join(BUILD, "mds.pc")):
        print(f"{BUILD} has no library to install")
        sys.exit(77)
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as cache:
        if re.search(r"^MDS_SANITIZE:\w+=\w", cache.read(), flags=re.M):
            print("a build with sanitizers is not for installing")
            sys.exit(77)
    unittest.main(verbosity=2)
