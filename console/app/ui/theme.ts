import { type MantineColorsTuple, createTheme } from '@mantine/core';

/** Petrol, the brand's colour; shade 7 carries white text at 5.9:1, shade 6 at 4.7:1. */
const petrol: MantineColorsTuple = [
  '#e9f6f7',
  '#d3ebed',
  '#a5d6da',
  '#74c0c7',
  '#4dafb7',
  '#2b9aa4',
  '#127f8a',
  '#0b6e78',
  '#085a63',
  '#05474e',
];

/** Greys with a little blue, for dark surfaces. */
const dark: MantineColorsTuple = [
  '#d5dae0',
  '#b3bbc5',
  '#8b96a3',
  '#65717f',
  '#46515e',
  '#333d48',
  '#242c35',
  '#1a2027',
  '#13181e',
  '#0d1115',
];

/** Of panels and dialogs. The name of an image has no place to break at, and must leave room for the way out. */
const title = { fontSize: '1.12rem', fontWeight: 650, minWidth: 0, overflowWrap: 'anywhere' } as const;

export const theme = createTheme({
  primaryColor: 'petrol',
  primaryShade: { light: 7, dark: 6 },
  colors: { petrol, dark },
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace',
  components: {
    Fieldset: { styles: { legend: { padding: '0 6px', fontWeight: 650 } } },
    Menu: { defaultProps: { shadow: 'md' } },
    Drawer: { styles: { title } },
    Modal: { styles: { title } },
  },
});
