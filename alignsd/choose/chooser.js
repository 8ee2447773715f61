// The chooser: a prompt and two to four pictures, of which a person picks one.
//
// One module for the widget in a notebook (the default export, as anywidget wants it) and for the
// page of `alignsd rate` (`mount`). The module draws a view and sends events. Which question comes
// next, and in which places the pictures stand, is decided in Python.
//
// A prompt is written by anybody, so a prompt is set as text and never as HTML.

const SMALL = 200; // pixels; a picture that is narrower is enlarged with sharp pixels
const PATIENCE = 6000; // milliseconds to wait for the next view before we say so
const QUIET = "data-lm-suppress-shortcuts"; // keeps JupyterLab's shortcuts (x cuts a cell) away

/**
 * Draw a chooser into an element.
 *
 * root: the element, empty.
 * view: what `Session.view()` returns; `error` and `after` are optional texts: what went wrong, and
 *   what to do when all questions are answered.
 * url: (file) -> address of a picture.
 * act: ({event, question, picked}) -> anything; a promise that fails is shown as an error.
 *   `event` is "pick", "skip" or "undo"; `picked` is the picture's index, or null.
 * onView: (callback) -> anything; `callback(view)` draws a new view.
 *
 * Returns a function that takes the chooser away.
 */
export function mount(root, { view, url, act, onView }) {
  const parts = build();
  const state = { view, waiting: null, mounted: true };
  const loaded = new Map(); // pictures of the next questions, loaded in advance

  function send(event, picked = null) {
    if (state.waiting !== null) return;
    parts.error.textContent = "";
    state.waiting = setTimeout(tellDelay, PATIENCE);
    parts.chooser.setAttribute("aria-busy", "true");
    Promise.resolve()
      .then(() => act({ event, question: state.view.question, picked }))
      .catch((error) => fail(`Your answer could not be kept: ${error.message || error}`));
  }

  function settle() {
    clearTimeout(state.waiting);
    state.waiting = null;
    parts.chooser.removeAttribute("aria-busy");
  }

  function fail(text) {
    if (!state.mounted) return;
    settle();
    for (const button of parts.pictures.children) button.classList.remove("alignsd-picked");
    parts.error.textContent = text;
  }

  function tellDelay() {
    fail("There is no answer yet. Is the kernel or the server still at work? Then choose again.");
  }

  function pick(place) {
    const picture = state.view.pictures[place];
    if (!picture || state.waiting !== null) return;
    parts.pictures.children[place].classList.add("alignsd-picked");
    send("pick", picture.index);
  }

  function skip() {
    if (!state.view.done) send("skip");
  }

  function undo() {
    if (state.view.can_undo) send("undo");
  }

  function draw(next) {
    if (!state.mounted) return;
    const hadFocus = parts.chooser.contains(document.activeElement);
    state.view = next;
    settle();
    drawProgress(parts, next);
    drawQuestion(parts, next, url, pick);
    parts.error.textContent = next.error || "";
    parts.skip.disabled = next.done;
    parts.undo.disabled = !next.can_undo;
    preload(loaded, next.upcoming, url);
    // A ring around one of the new pictures would favour this picture: the frame takes the focus.
    if (hadFocus) parts.chooser.focus({ preventScroll: true });
  }

  function onKey(event) {
    const action = actionOf(event, { pick, skip, undo });
    const passes = ["Tab", "Escape"].includes(event.key) || hasModifier(event);
    if (!passes) event.stopPropagation();
    if (action === null) return;
    event.preventDefault();
    if (!event.repeat) action();
  }

  parts.skip.addEventListener("click", skip);
  parts.undo.addEventListener("click", undo);
  parts.chooser.addEventListener("keydown", onKey);
  root.append(parts.chooser);
  draw(view);
  onView(draw);

  return () => {
    state.mounted = false;
    clearTimeout(state.waiting);
    parts.chooser.remove();
  };
}

// The parts that stay while views come and go.
function build() {
  const chooser = element("section", "alignsd-chooser", { role: "group", tabindex: "0" });
  chooser.setAttribute("aria-label", "Choose the picture that you like best for the prompt");
  const bar = element("div", "alignsd-bar", { role: "progressbar", "aria-valuemin": "0" });
  bar.setAttribute("aria-label", "Answered questions");
  bar.append(element("div", "alignsd-bar-filled"));
  const progress = element("div", "alignsd-progress");
  const count = element("span", "alignsd-count");
  progress.append(bar, count);
  const prompt = element("p", "alignsd-prompt");
  const pictures = element("div", "alignsd-pictures");
  const error = element("p", "alignsd-error", { role: "alert" });
  const skip = button("alignsd-action", "Skip", "0");
  const undo = button("alignsd-action", "Undo", "U");
  const actions = element("div", "alignsd-actions");
  actions.append(undo, skip, hint());
  const spoken = element("div", "alignsd-spoken", { "aria-live": "polite", role: "status" });
  chooser.append(progress, prompt, pictures, error, actions, spoken);
  return { chooser, bar, count, prompt, pictures, error, skip, undo, spoken };
}

function hint() {
  const hints = element("span", "alignsd-hint", { "aria-hidden": "true" });
  const away = element("span", "alignsd-hint-away");
  away.textContent = "Click a picture. For keys, click into this frame first.";
  const here = element("span", "alignsd-hint-here");
  here.textContent = "Keys: a picture's number picks, 0 skips, U undoes.";
  hints.append(away, here);
  return hints;
}

function drawProgress(parts, view) {
  const answered = view.done ? view.total : view.number - 1;
  parts.bar.setAttribute("aria-valuemax", String(view.total));
  parts.bar.setAttribute("aria-valuenow", String(answered));
  parts.bar.firstChild.style.width = `${(100 * answered) / Math.max(view.total, 1)}%`;
  const where = view.done ? `${view.total} of ${view.total}` : `${view.number} of ${view.total}`;
  parts.count.textContent = where;
  parts.spoken.textContent = view.done
    ? `All ${view.total} questions are answered.`
    : `Question ${where}. Prompt: ${view.prompt}`;
}

function drawQuestion(parts, view, url, pick) {
  parts.chooser.classList.toggle("alignsd-done", view.done);
  if (view.done) {
    parts.prompt.textContent = "";
    parts.pictures.replaceChildren(thanks(view));
    return;
  }
  parts.prompt.textContent = view.prompt;
  parts.pictures.dataset.count = String(view.pictures.length);
  parts.pictures.replaceChildren(
    ...view.pictures.map((picture, place) => pictureButton(picture, place, url, pick)),
  );
}

function thanks(view) {
  const box = element("div", "alignsd-thanks");
  const mark = element("div", "alignsd-mark", { "aria-hidden": "true" });
  mark.textContent = "\u2713";
  const title = element("p", "alignsd-title");
  title.textContent = `All ${view.total} questions are answered. Thank you.`;
  const after = element("p", "alignsd-after");
  after.textContent = view.after || "";
  box.append(mark, title, after);
  return box;
}

function pictureButton(picture, place, url, pick) {
  const choice = element("button", "alignsd-picture", { type: "button" });
  choice.setAttribute(QUIET, "true");
  choice.setAttribute("aria-label", picture.label);
  choice.setAttribute("aria-keyshortcuts", String(place + 1));
  const image = element("img", "", { alt: "", draggable: "false" });
  image.addEventListener("load", () => {
    image.classList.toggle("alignsd-small", image.naturalWidth < SMALL);
  });
  image.addEventListener("error", () => choice.classList.add("alignsd-lost"));
  image.src = url(picture.file);
  choice.append(image, keyCap(String(place + 1)));
  choice.addEventListener("click", () => pick(place));
  return choice;
}

function preload(loaded, files, url) {
  for (const file of loaded.keys()) {
    if (!files.includes(file)) loaded.delete(file);
  }
  for (const file of files) {
    if (loaded.has(file)) continue;
    const address = url(file);
    if (!address) continue; // a widget's pictures arrive after the view
    const image = new Image();
    image.src = address;
    loaded.set(file, image);
  }
}

// What a key does, or null. A French keyboard types digits with Shift, so the key's place counts.
function actionOf(event, { pick, skip, undo }) {
  if (hasModifier(event)) return null;
  if (event.key.toLowerCase() === "u") return undo;
  const place = /^(?:Digit|Numpad)([0-4])$/.exec(event.code || "");
  const digit = /^[0-9]$/.test(event.key) ? event.key : place && place[1];
  if (digit === "0") return skip;
  if (digit && "1234".includes(digit)) return () => pick(Number(digit) - 1);
  return null;
}

function hasModifier(event) {
  return event.ctrlKey || event.metaKey || event.altKey;
}

function element(tag, name, attributes = {}) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if ("tabindex" in attributes) made.setAttribute(QUIET, "true");
  return made;
}

function button(name, text, key) {
  const made = element("button", name, { type: "button", "aria-keyshortcuts": key });
  made.setAttribute(QUIET, "true");
  const label = element("span", "");
  label.textContent = text;
  made.append(label, keyCap(key));
  return made;
}

function keyCap(key) {
  const cap = element("kbd", "alignsd-key", { "aria-hidden": "true" });
  cap.textContent = key;
  return cap;
}

// The widget in a notebook: the kernel holds the view, and every tab draws the same view.
function render({ model, el }) {
  let callback = () => {};
  const changed = () => callback(model.get("view"));
  const look = () => document.hidden || model.send({ event: "look" });
  const takeAway = mount(el, {
    view: model.get("view"),
    url: (file) => model.get("pictures")[file] || "",
    act: (message) => model.send(message),
    onView: (draw) => (callback = draw),
  });
  model.on("change:view", changed);
  document.addEventListener("visibilitychange", look);
  look(); // another tab or another process may have answered in the meantime
  return () => {
    model.off("change:view", changed);
    document.removeEventListener("visibilitychange", look);
    takeAway();
  };
}

export default { render };
