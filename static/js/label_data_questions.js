// The questions before an action on many images, of which some were not on the screen.
import { number } from "./display.js";

// Per action: the words of its button, and the title for `total` images. `%(what)s`: labels, or a column.
const QUESTIONS = {
  label: (total) => [
    pgettext("button", "Label"),
    ngettext("Label %(count)s image as “%(what)s”?", "Label %(count)s images as “%(what)s”?", total),
  ],
  remove: (total) => [
    gettext("Remove"),
    ngettext("Remove “%(what)s” from %(count)s image?", "Remove “%(what)s” from %(count)s images?", total),
  ],
  confirm: (total) => [
    gettext("Confirm"),
    ngettext("Confirm the suggestion of %(count)s image?", "Confirm the suggestions of %(count)s images?", total),
  ],
  reject: (total) => [
    gettext("Reject"),
    ngettext("Reject the suggestion of %(count)s image?", "Reject the suggestions of %(count)s images?", total),
  ],
  set: (total) => [
    pgettext("button", "Set"),
    ngettext("Set “%(what)s” of %(count)s image?", "Set “%(what)s” of %(count)s images?", total),
  ],
  confirmLabels: (total) => [
    gettext("Confirm labels"),
    ngettext("Confirm the labels of %(count)s image?", "Confirm the labels of %(count)s images?", total),
  ],
  removeLabels: (total) => [
    gettext("Remove labels"),
    ngettext("Remove all labels from %(count)s image?", "Remove all labels from %(count)s images?", total),
  ],
  keepAsTest: (total) => [
    gettext("Keep as test images"),
    ngettext("Keep %(count)s image as a test image?", "Keep %(count)s images as test images?", total),
  ],
  useForTraining: (total) => [
    gettext("Use for training and validation"),
    ngettext("Use %(count)s image for training and validation?", "Use %(count)s images for training and validation?", total),
  ],
  restore: (total) => [gettext("Restore"), ngettext("Restore %(count)s image?", "Restore %(count)s images?", total)],
};

// For `ask` of question.js. `seen`: how many of the images were on the screen.
export function question(action, total, seen, what = "") {
  const [yes, title] = QUESTIONS[action](total);
  const values = { count: number(total), what, seen: number(seen), unseen: number(Math.max(total - seen, 0)) };
  const text = gettext("On your screen so far: %(seen)s. Not seen yet: %(unseen)s.");
  return { title: interpolate(title, values, true), text: interpolate(text, values, true), yes };
}
