// Sentences about an upload: how many files came how far, and why the server refused one.
import { number } from "./display.js";

export const filled = (text, total) => interpolate(text, { count: number(total) }, true);

export function imagesText(images) {
  return filled(ngettext("%(count)s image", "%(count)s images", images), images);
}

// Files by their state, beside those that were added.
export const TALLIES = {
  duplicate: (n) => ngettext("%(count)s already here", "%(count)s already here", n),
  restored: (n) => ngettext("%(count)s restored from the bin", "%(count)s restored from the bin", n),
  unlabeled: (n) => ngettext("%(count)s added without a label", "%(count)s added without a label", n),
  refused: (n) => ngettext("%(count)s refused", "%(count)s refused", n),
  failed: (n) => ngettext("%(count)s not uploaded", "%(count)s not uploaded", n),
};

// What stands before the reason of one file.
export const STATES = {
  added: gettext("Added."),
  unlabeled: gettext("Added without its label."),
  refused: gettext("Refused."),
  failed: gettext("Not uploaded."),
};

export function runningText(done, total) {
  return interpolate(gettext("Uploading %(done)s of %(total)s"), { done: number(done), total: number(total) }, true);
}

export function addedText(added) {
  return filled(ngettext("%(count)s added", "%(count)s added", added), added);
}

export function importingText(share) {
  return interpolate(gettext("Uploading the import files: %(share)s"), { share: `${number(100 * share)} %` }, true);
}

export function unsavedText(labels) {
  return filled(ngettext("%(count)s label not saved yet", "%(count)s labels not saved yet", labels), labels);
}

export function refusalText(status) {
  const texts = {
    403: gettext("Your role does not allow you to add images."),
    404: gettext("The project no longer exists."),
    413: gettext("The file is too large for the server."),
  };
  return texts[status] ?? gettext("You are signed out. Sign in again in another tab, then retry.");
}
