"""aider: its own loop over LiteLLM, which continues an answer that a limit has cut off."""
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it asks a host for prices otherwise
from aider.coders import Coder  # noqa: E402
from aider.io import InputOutput  # noqa: E402
from aider.models import Model, ModelInfoManager  # noqa: E402

from apitest import HELLO, SUM, ApiTest, main  # noqa: E402

ModelInfoManager._update_cache = lambda self: None  # which would ask that host, too
OFF = {"extra_body": {"thinking": {"type": "disabled"}}}


class Aider(ApiTest):
    args = ("--access-log",)

    def coder(self, stream, **params):
        os.environ.update(OPENAI_API_BASE=self.url + "/v1", OPENAI_API_KEY="any")
        os.chdir(self.scratch.name)
        model = Model("openai/demo")
        model.extra_params = {"temperature": 0, **params}
        model.info.update(supports_assistant_prefill=True, max_input_tokens=60000)
        coder = Coder.create(main_model=model, edit_format="ask", use_git=False, map_tokens=0,
                             io=InputOutput(yes=True, pretty=False), stream=stream)
        coder.gpt_prompts.main_system = "You are a helpful assistant."  # one that the model knows
        coder.gpt_prompts.system_reminder = ""
        return coder

    def n_requests(self):
        return self.server.stats()["requests"]["done"]

    def test_plain(self):
        for stream in (False, True):
            coder = self.coder(stream, **OFF)
            self.assertIn("help", coder.run(HELLO))
            self.assertGreater(coder.total_tokens_sent, 0)

    def test_thinking(self):
        for stream in (False, True):
            coder = self.coder(stream)
            coder.run(SUM)
            self.assertEqual(coder.partial_response_content.strip(), "42")

    def test_limit(self):
        """The pieces of a cut answer join to the whole."""
        whole = self.coder(True, **OFF).run(HELLO)
        before = self.n_requests()
        pieces = self.coder(True, max_tokens=4, **OFF).run(HELLO)
        self.assertEqual(pieces, whole)
        self.assertGreaterEqual(self.n_requests(), before + 3)

    def test_history(self):
        coder = self.coder(True, **OFF)
        coder.run(HELLO)
        coder.run("What can you do?")
        self.assertGreaterEqual(len(coder.cur_messages + coder.done_messages), 4)


if __name__ == "__main__":
    main()
