// Buttons that copy the text of another element: <button type="button" data-copy="its id">Copy</button>.
"use strict";
(() => {
  document.documentElement.classList.add("can-copy");

  async function copied(element) {
    try {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    } catch {
      // Over plain HTTP there is no clipboard; the text is marked, so that Ctrl-C takes it.
      getSelection().selectAllChildren(element);
      return false;
    }
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    const element = button && document.getElementById(button.dataset.copy);
    if (!element) return;
    const label = button.textContent;
    button.disabled = true;
    button.textContent = (await copied(element)) ? "Copied" : "Marked: press Ctrl-C";
    setTimeout(() => {
      button.textContent = label;
      button.disabled = false;
    }, 1500);
  });
})();
