import { useEffect } from 'react';

/** Dialogs that are open: one may ask over another, and the page stays out of reach until the last is closed. */
let dialogs = 0;

/** While a dialog is open, the page behind it takes neither clicks nor keys, and assistive technology does not see it. */
export function useInertPage(dialogOpen: boolean): void {
  useEffect(() => {
    const page = document.getElementById('root');
    if (!dialogOpen || !page) return;
    dialogs += 1;
    page.inert = true;
    page.setAttribute('aria-hidden', 'true');
    return () => {
      dialogs -= 1;
      if (dialogs > 0) return;
      page.inert = false;
      page.removeAttribute('aria-hidden');
    };
  }, [dialogOpen]);
}
