import type { ReactNode, SVGProps } from 'react';

/** Line icons on a 24-unit grid, drawn for this console. They are decoration: names stand beside them or on their button. */
function Icon({ children, ...rest }: SVGProps<SVGSVGElement> & { children: ReactNode }) {
  return (
    <svg
      viewBox="0 0 24 24"
      width="1.25em"
      height="1.25em"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
      {...rest}
    >
      {children}
    </svg>
  );
}

export const WarningIcon = () => (
  <Icon>
    <path d="M12 4 2.8 19.5h18.4z" />
    <path d="M12 10v4.2M12 17h.01" />
  </Icon>
);

export const SunIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4" />
  </Icon>
);

export const MoonIcon = () => (
  <Icon>
    <path d="M20 14.2A8.2 8.2 0 0 1 9.8 4a8.2 8.2 0 1 0 10.2 10.2z" />
  </Icon>
);

export const SystemThemeIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M12 3.5a8.5 8.5 0 0 1 0 17z" fill="currentColor" />
  </Icon>
);

export const CheckIcon = () => (
  <Icon strokeWidth="2.4">
    <path d="m5 12.5 4.6 4.6L19 7.5" />
  </Icon>
);

export const CrossIcon = () => (
  <Icon strokeWidth="2.4">
    <path d="m6.5 6.5 11 11M17.5 6.5l-11 11" />
  </Icon>
);

export const BackIcon = () => (
  <Icon>
    <path d="M19 12H5M11 6l-6 6 6 6" />
  </Icon>
);

export const ChevronUpIcon = () => (
  <Icon>
    <path d="m6 14.5 6-6 6 6" />
  </Icon>
);

export const ChevronDownIcon = () => (
  <Icon>
    <path d="m6 9.5 6 6 6-6" />
  </Icon>
);

export const ClipboardIcon = () => (
  <Icon>
    <rect x="5" y="4.5" width="14" height="16" rx="2" />
    <path d="M9 4.5a1.5 1.5 0 0 1 1.5-1.5h3A1.5 1.5 0 0 1 15 4.5V6H9zM8.5 11h7M8.5 15h4.5" />
  </Icon>
);

export const KeyboardIcon = () => (
  <Icon>
    <rect x="2.5" y="6" width="19" height="12" rx="2" />
    <path d="M6.5 10h.01M10 10h.01M13.8 10h.01M17.5 10h.01M8 14.2h8" />
  </Icon>
);

export const KeysIcon = () => (
  <Icon>
    <rect x="3" y="8" width="8" height="8" rx="1.8" />
    <rect x="13" y="8" width="8" height="8" rx="1.8" />
    <path d="M6 13.2h2M15.5 13.2 17 10.6l1.5 2.6" />
  </Icon>
);

export const FullScreenIcon = () => (
  <Icon>
    <path d="M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5" />
  </Icon>
);

export const LeaveFullScreenIcon = () => (
  <Icon>
    <path d="M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5" />
  </Icon>
);

export const StopIcon = () => (
  <Icon>
    <path d="M12 3.5v8" />
    <path d="M7 6.6a7.5 7.5 0 1 0 10 0" />
  </Icon>
);

export const UserIcon = () => (
  <Icon>
    <circle cx="12" cy="8" r="4" />
    <path d="M4.5 20.5c1-4 4-6 7.5-6s6.5 2 7.5 6" />
  </Icon>
);

export const EmptyIcon = () => (
  <Icon width="2.6em" height="2.6em" strokeWidth="1.3">
    <rect x="3" y="4.5" width="18" height="12" rx="1.8" />
    <path d="M9 20h6M12 16.5V20M8.5 10.5h7" />
  </Icon>
);

export const Logo = ({ size = 28 }: { size?: number }) => (
  <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden="true" focusable="false">
    <rect width="32" height="32" rx="8" fill="#0b6e78" />
    <g fill="none" stroke="#fff" strokeWidth="2.2" strokeLinecap="round">
      <circle cx="16" cy="16" r="9.4" />
      <ellipse cx="16" cy="16" rx="3.9" ry="9.4" />
      <path d="M6.8 16h18.4" strokeOpacity=".55" />
    </g>
  </svg>
);
