"""The installed library: pkg-config, the example linked with the shared and the static form."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import PROGRAM, ModelTest, main  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.dirname(PROGRAM)


def run(*args, env=None):
    done = subprocess.run(args, capture_output=True, timeout=120,
                          env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise AssertionError(f"{args}: {done.stderr.decode()}")
    return done.stdout.decode()


def sanitizers():
    """What the library was built with, which whoever links it needs as well."""
    for line in open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8"):
        if line.startswith("HADAL_SANITIZE:") and line.strip().partition("=")[2]:
            return ["-fsanitize=" + line.strip().partition("=")[2]]
        if line.startswith("CMAKE_C_FLAGS:") and "--coverage" in line:
            return ["--coverage"]
    return []


class Install(ModelTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prefix = os.path.join(cls.scratch, "usr")
        run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        cls.lib = next(d for d, _, files in os.walk(cls.prefix) if "libhadal.a" in files)
        cls.env = {"PKG_CONFIG_PATH": os.path.join(cls.lib, "pkgconfig"),
                   "LD_LIBRARY_PATH": cls.lib}

    def pkg_config(self, *args):
        return run("pkg-config", f"--define-variable=prefix={self.prefix}", *args, "hadal",
                   env=self.env).split()

    def build(self, example, name, flags):
        program = os.path.join(self.scratch, name)
        run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", *sanitizers(),
            os.path.join(ROOT, "examples", example + ".c"), "-o", program, *flags)
        return program

    def build_and_run(self, name, flags):
        return run(self.build("generate", name, flags), self.model, "Hello", env=self.env)

    def test_many_texts_at_once(self):
        flags = self.pkg_config("--cflags", "--libs")
        program = self.build("many", "many", flags)
        texts = ["Hello", "The sea is", "Hello"]
        out = run(program, self.model, *texts, env=self.env)
        parts = out.split("prompt tokens from the cache]\n")
        self.assertEqual(len(parts), 4)
        self.assertTrue(all(p.startswith(t) for p, t in zip(parts, texts)))
        self.assertEqual(parts[0], parts[2])  # the same request, beside the others
        self.assertNotEqual(parts[0], parts[1])

    def test_example_gives_the_same_text_from_both_libraries(self):
        shared = self.build_and_run("shared", self.pkg_config("--cflags", "--libs"))
        static = ["-I" + os.path.join(self.prefix, "include"),
                  os.path.join(self.lib, "libhadal.a"), *self.pkg_config("--libs", "--static")]
        static = [f for f in static if f != "-lhadal"]
        self.assertEqual(shared, self.build_and_run("static", static))
        self.assertGreater(len(shared.strip()), 0)

    def test_installed_program_finds_its_golden_data(self):
        out = run(os.path.join(self.prefix, "bin", "hadal"), "verify", self.model, "--budget",
                  "0.01", "--json")
        golden = json.loads(out)["checks"][0]
        self.assertEqual(golden["name"], "ref-golden")
        self.assertTrue(golden["pass"] and golden["cases"] > 50)

    def test_installed_program_runs(self):
        out = run(os.path.join(self.prefix, "bin", "hadal"), "--version")
        self.assertRegex(out, r"^hadal \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    main()
