import { useEffect } from 'react';

/** While a dialog is open, the page behind it takes neither clicks nor keys, and assistive technology does not see it. */
export function useInertPage(dialogOpen: boolean): void {
  useEffect(() => {
    const page = document.getElementById('root');
    if (!dialogOpen || !page) return;
    page.inert = true;
    page.setAttribute('aria-hidden', 'true');
    return () => {
      page.inert = false;
      page.removeAttribute('aria-hidden');
    };
  }, [dialogOpen]);
}
