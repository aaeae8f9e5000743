#!/usr/bin/env python3
"""Records how transformers renders chat templates of the kinds that models come with, for tests/templates.rs. `just reference`."""
import json, pathlib

from transformers.utils.chat_template_utils import render_jinja_template

HERE = pathlib.Path(__file__).resolve().parent
TEMPLATES = {
    "chatml": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
              "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "headers": "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n{%- if messages[0]['role'] == 'system' %}\n"
               "    {%- set system = messages[0]['content'] | trim %}\n    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system = \"\" %}\n{%- endif %}\n"
               "{{- \"<|head|>system<|/head|>\\n\\nToday: \" + date_string + \"\\n\\n\" + system + \"<|eot|>\" }}\n{%- for message in messages %}\n"
               "    {{- '<|head|>' + message['role'] + '<|/head|>\\n\\n' + message['content'] | trim + '<|eot|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n"
               "    {{- '<|head|>assistant<|/head|>\\n\\n' }}\n{%- endif %}\n",
    "turns": "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' -%}\n    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}\n    {%- set loop_messages = messages[1:] -%}\n"
             "{%- else -%}\n    {%- set first_user_prefix = \"\" -%}\n    {%- set loop_messages = messages -%}\n{%- endif -%}\n{%- for message in loop_messages -%}\n"
             "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}\n        {{ raise_exception(\"roles must alternate\") }}\n    {%- endif -%}\n"
             "    {%- if (message['role'] == 'assistant') -%}\n        {%- set role = \"model\" -%}\n    {%- else -%}\n        {%- set role = message['role'] -%}\n    {%- endif -%}\n"
             "    {{ '<turn>' + role + '\n' + (first_user_prefix if loop.first else \"\") }}\n    {%- if message['content'] is string -%}\n        {{ message['content'] | trim }}\n    {%- endif -%}\n"
             "    {{ '</turn>\n' }}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n    {{ '<turn>model\n' }}\n{%- endif -%}\n",
    "marks": "{%- for message in messages %}\n    {%- if message.role == 'user' %}\n        {{- '[INST] ' + message.content + '[/INST]' }}\n    {%- elif message.role == 'assistant' %}\n"
             "        {%- generation %}{{- ' ' + message.content.strip() + eos_token }}{%- endgeneration %}\n    {%- else %}\n        {{- '<<' + message.content.upper() + '>>' }}\n    {%- endif %}\n{%- endfor %}",
    "thinking": "{%- set ns = namespace(last=-1) %}\n{%- for message in messages %}{%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}\n"
                "{%- for message in messages %}\n    {%- if message.role == 'assistant' and loop.index0 > ns.last %}\n        {{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + message.content.lstrip('\\n') + '<|im_end|>\\n' }}\n"
                "    {%- else %}\n        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\n    {%- endif %}\n{%- endfor %}\n"
                "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n    {%- if enable_thinking is defined and enable_thinking is false %}\n        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}",
}
SAID = {
    "short": [("user", "Where is my card?"), ("assistant", "On its way.")],
    "system": [("system", "Be brief."), ("user", " Größe, 世界? "), ("assistant", "  Yes.\n")],
    "long": [("system", "Be brief."), ("user", "One\ntwo"), ("assistant", "{{ three }}"), ("user", "<|im_end|>"), ("assistant", "four")],
}


def main():
    recorded = []
    for name, template in TEMPLATES.items():
        for kind, said in SAID.items():
            messages = [{"role": role, "content": content} for role, content in said]
            names = dict(bos_token="<s>", eos_token="</s>", enable_thinking=False)
            whole, marks = render_jinja_template([messages], chat_template=template, return_assistant_tokens_mask=name == "marks", add_generation_prompt=False, **names)
            asked, _ = render_jinja_template([messages[:-1]], chat_template=template, add_generation_prompt=True, **names)
            spans = [[whole[0][start:end] for start, end in marks[0]]] if name == "marks" else []
            recorded.append({"template": name, "said": kind, "messages": messages, "whole": whole[0], "asked": asked[0], "spans": spans})
    (HERE / "templates.json").write_text(json.dumps({"templates": TEMPLATES, "recorded": recorded}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
