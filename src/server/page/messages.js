// How one message looks: what the user wrote, and an answer with its folded reasoning, tool calls,
// errors and numbers. An AnswerView follows a message that grows; it owns no state of its own.

import { copyButton, duration, el, icon, iconButton, number } from './dom.js';
import { renderInto } from './markdown.js';
import { usageFacts } from './request.js';

export function userView(message, onEdit) {
  const body = el('div', { class: 'text plain-text' }, message.content);
  return el('article', { class: 'message user', 'aria-label': 'You' },
    el('h2', { class: 'offscreen' }, 'You'), body,
    el('div', { class: 'row actions' },
      copyButton('Copy message', () => message.content),
      iconButton('edit', 'Edit message', onEdit)));
}

// The form that takes the place of a message of the user.
export function editView(message, onDone) {
  const area = el('textarea', { rows: '3', 'aria-label': 'Edit message' });
  area.value = message.content;
  const form = el('form', { class: 'message user editing' }, area,
    el('p', { class: 'hint' }, 'What follows this message is replaced by a new answer.'),
    el('div', { class: 'row' }, el('span', { class: 'spring' }),
      el('button', { type: 'button', class: 'plain', onclick: () => onDone(null) }, 'Cancel'),
      el('button', { type: 'submit', class: 'strong' }, 'Send')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (area.value.trim()) onDone(area.value);
  });
  form.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    onDone(null);
  });
  return { node: form, focus: () => area.focus() };
}

function pretty(json) {
  try { return JSON.stringify(JSON.parse(json), null, 2); } catch { return json; }
}

const wholeSeconds = (ms) => duration(Math.floor(ms / 1000) * 1000);

// hooks: {again()}: a new answer in place of this one; {results(list)}: what the calls returned.
export class AnswerView {
  constructor(message, hooks) {
    this.message = message;
    this.hooks = hooks;
    this.reasoningText = el('div', { class: 'reasoning-text', tabindex: '0',
      role: 'region', 'aria-label': 'Reasoning' });
    this.summary = el('span', null, 'Thinking');
    this.reasoning = el('details', { class: 'reasoning', hidden: true },
      el('summary', null, this.summary), this.reasoningText);
    this.body = el('div', { class: 'text markdown' });
    this.calls = el('div', { class: 'calls' });
    this.end = el('div', { class: 'end' });
    this.waiting = el('p', { class: 'waiting', hidden: true }, el('span', { class: 'pulse' }), '');
    this.node = el('article', { class: 'message answer', 'aria-label': 'Answer' },
      el('h2', { class: 'offscreen' }, 'Answer'),
      this.reasoning, this.body, this.calls, this.waiting, this.end);
  }

  // results: content by call id; isLast: the conversation ends here.
  update({ isRunning, elapsedMs, results, isLast }) {
    const m = this.message;
    this.node.setAttribute('aria-busy', String(isRunning));
    this.updateReasoning(isRunning, elapsedMs);
    renderInto(this.body, m.content);
    this.updateCalls(isRunning, results, isLast);
    const hasBegun = m.reasoning || m.content || m.calls.length;
    this.waiting.hidden = !isRunning || Boolean(hasBegun);
    this.waiting.lastChild.data = elapsedMs < 2000 ? 'Waiting for the first token'
      : 'Waiting for the first token, ' + wholeSeconds(elapsedMs);
    this.end.replaceChildren(...(isRunning ? [] : this.endNodes(isLast)));
  }

  updateReasoning(isRunning, elapsedMs) {
    const m = this.message;
    this.reasoning.hidden = !m.reasoning;
    if (!m.reasoning) return;
    const shown = this.reasoningText.firstChild;
    if (shown && m.reasoning.startsWith(shown.data)) {
      shown.appendData(m.reasoning.slice(shown.length));
    } else {
      this.reasoningText.textContent = m.reasoning;
    }
    const isThinking = isRunning && m.thoughtMs === undefined;
    this.reasoning.classList.toggle('live', isThinking);
    const ms = m.thoughtMs ?? (isRunning ? elapsedMs : m.lastMs) - m.firstMs;
    if (isThinking) {
      this.summary.textContent = ms < 1000 ? 'Thinking' : 'Thinking, ' + wholeSeconds(ms);
    } else {
      this.summary.textContent = ms < 100 ? 'Thought briefly' : 'Thought for ' + duration(ms);
    }
  }

  updateCalls(isRunning, results, isLast) {
    const calls = this.message.calls.filter(Boolean); // those that have begun
    const open = isRunning ? [] : calls.filter((c) => !results.has(c.id));
    const state = JSON.stringify([calls, isRunning, isLast, [...results]]);
    if (state === this.callState) return; // a form that is being filled in must stay
    this.callState = state;
    if (!calls.length) return this.calls.replaceChildren();
    const cards = calls.map((c) => this.callCard(c, isRunning, results, isLast));
    if (!isLast || open.length === 0) return this.calls.replaceChildren(...cards);
    const form = el('form', { 'aria-label': 'Results of tool calls' }, ...cards,
      el('div', { class: 'row' }, el('span', { class: 'spring' }),
        el('button', { type: 'submit', class: 'strong' },
          open.length > 1 ? 'Send the results' : 'Send the result')));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.hooks.results(open.map((c, i) => (
        { role: 'tool', tool_call_id: c.id, content: form.querySelectorAll('textarea')[i].value })));
    });
    this.calls.replaceChildren(form);
  }

  callCard(call, isRunning, results, isLast) {
    const card = el('section', { class: 'call', 'aria-label': 'Tool call ' + call.name },
      el('p', { class: 'call-head' }, icon('tool'), el('span', { class: 'offscreen' }, 'Tool call: '),
        el('code', null, call.name)),
      el('pre', { tabindex: '0', role: 'region', 'aria-label': 'Arguments of ' + call.name },
        pretty(call.args)));
    if (results.has(call.id)) {
      card.append(el('details', null, el('summary', null, 'Result'),
        el('pre', { tabindex: '0', role: 'region', 'aria-label': 'Result of ' + call.name },
          pretty(results.get(call.id)))));
    } else if (!isRunning && isLast) {
      const id = 'result-' + call.id;
      card.append(el('label', { for: id }, 'What ' + call.name + ' returns'),
        el('textarea', { id, rows: '2', class: 'mono', required: true, spellcheck: 'false',
          placeholder: 'For example {"ok": true}' }));
    }
    return card;
  }

  endNodes(isLast) {
    const m = this.message;
    const nodes = [];
    if (m.error) {
      nodes.push(el('div', { class: 'error' },
        el('p', null, el('strong', null, m.status ? 'Error ' + m.status + '. ' : 'Error. '), m.error),
        isLast ? el('button', { type: 'button', class: 'plain', onclick: this.hooks.again },
          icon('again'), 'Try again') : null));
    }
    if (m.stopped) nodes.push(el('p', { class: 'note' }, 'Stopped.'));
    if (m.finish === 'length') {
      nodes.push(el('p', { class: 'note' }, 'The answer reached its longest length.'));
    }
    const actions = el('div', { class: 'row actions' });
    if (m.content) actions.append(copyButton('Copy answer', () => m.content));
    if (isLast && !m.error) actions.append(iconButton('again', 'Another answer', this.hooks.again));
    const facts = usageFacts(m, { number, duration });
    if (facts.length) actions.append(el('p', { class: 'facts' }, facts.join(' · ')));
    if (actions.childNodes.length) nodes.push(actions);
    return nodes;
  }
}
