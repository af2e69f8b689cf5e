declare module "*.woff2?cut" {
  const url: string;
  export default url;
}
